"""The store: SQLAlchemy lives here and nowhere else."""
