"""ONNX nodes for every op of a program."""
