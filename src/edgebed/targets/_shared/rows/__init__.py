"""Networks as C that works row by row: small memories first, for processors without vector units
of a desktop's width. Shared by the targets whose processors run plain C."""
