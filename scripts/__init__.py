"""What `make setup` and `make lock` run; nothing here is installed."""
