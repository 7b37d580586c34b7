"""Stage 3: points in, points with more columns out; pure, seeded, one neighbour graph for all."""
