"""Compares the books; pure. Every difference is a finding: something that the guard promises does not hold."""

from .books import Books
from .compare_acts import compare_acts
from .compare_answers import compare_answers
from .compare_money import compare_money
from .shelf import Difference, Shelf


def compare(books: Books) -> list[Difference]:
    """Hold the three books against each other, and the answers that clients were given against all of them."""
    shelf = Shelf(books)
    return [*compare_money(shelf), *compare_acts(shelf), *compare_answers(shelf)]
