"""What is measured side by side; a module for each."""
