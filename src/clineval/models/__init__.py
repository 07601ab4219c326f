"""Training and models: torch and scikit-learn live here and nowhere else."""
