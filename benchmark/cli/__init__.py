"""The command line of training and of studies."""
