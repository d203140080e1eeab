"""What the pages for people have in common: how an operation is shown, the style, and what guards a page."""
