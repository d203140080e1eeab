"""The acts: what a purchase, a release and the change of a number each are."""
