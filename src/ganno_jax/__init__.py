"""Training a neural network as a reinforcement-learning environment, one agent per layer."""
