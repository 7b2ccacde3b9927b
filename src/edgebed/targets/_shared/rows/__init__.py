"""Networks as C that works row by row, shared by the targets whose processors run plain C.

Small memories come first here: these processors have no vector units of a desktop's width.
"""
