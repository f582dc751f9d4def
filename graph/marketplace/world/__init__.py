"""What is true: catalogue, shoppers, demand, and what the platform has observed of them."""
