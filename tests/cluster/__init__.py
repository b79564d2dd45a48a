"""What is installed on a cluster, checked by the tools that read it there."""
