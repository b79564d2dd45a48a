"""The migrations, in Alembic's form: ``env.py`` and one module for each version."""
