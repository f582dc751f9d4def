"""A simulated marketplace whose truth is known: catalogue, shoppers and the whole search cascade, in contract form.

What is true but never logged (quality, taste, topic, utility) lives in classes whose names start with ``Hidden``;
``writing`` only ever sees the other ones. See docs/reference/marketplace.md.
"""
