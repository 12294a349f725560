"""What is trained on, and what is held out."""
