"""Images as uint8 tensors: checks and sizes, the cache, seeded batches, hidden labels, images of other tools."""
