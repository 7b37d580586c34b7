"""Stage 3: points in, points with more columns out. Pure and seeded; one neighbour graph for all."""
