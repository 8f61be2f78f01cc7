"""What several models share: abstract classes that answer questions, inference, and small mechanisms of losses."""
