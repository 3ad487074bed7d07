"""What answers HTTP in the serving pods."""
