"""The checks that a copied package has to pass, one module per thing that is looked at."""
