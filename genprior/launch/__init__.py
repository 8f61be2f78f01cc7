"""Where rows run: tried first, then one after another or side by side in processes."""
