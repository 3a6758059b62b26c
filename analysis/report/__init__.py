"""The report: its page, tables, figures and sentences; and event files for TensorBoard."""
