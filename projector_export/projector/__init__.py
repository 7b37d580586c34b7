"""Stage 4: points become the projector's files. One module a format; `log_dir` alone writes."""
