"""The recipe of the embedded default base: what it is taught, what is kept from it, how it is trained and measured.

Nothing in the product imports this package; it imports the harness, so that the student is taught in the very
prompts and answers it will meet. `python -m models.recipe --help` lists the steps.
"""
