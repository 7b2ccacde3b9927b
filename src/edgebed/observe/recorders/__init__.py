"""What a network computed, frame by frame, in each runtime: `record(source, inputs, level)`."""
