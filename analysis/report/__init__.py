"""The page, its tables, figures and sentences."""
