"""What hardware it takes: memory, speed, queues and money, worked out before anything is bought."""
