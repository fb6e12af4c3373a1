"""The book's build: browser files, executed notebooks, stamps, status page, Sphinx.

It is no part of the installed package; ``make book`` runs :mod:`book.build` from the root of a checkout.
"""
