"""Pictures as PNG files: grids of images, curves, planes of codes."""
