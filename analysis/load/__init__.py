"""Where runs come from, and the checks that decide which of them count."""
