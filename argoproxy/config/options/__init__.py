"""Each setting is declared once, with its parser."""
