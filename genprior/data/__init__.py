"""Images as uint8 tensors: data sets, their cache, batches by seed, hidden labels, images of other tools."""
