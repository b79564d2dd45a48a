"""One machine's Ray cluster and the application on it: started, watched, and stopped without a trace."""
