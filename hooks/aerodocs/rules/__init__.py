"""The checker's rules: one module a family, each with its `CODES` and severities, `page(subject)` and, where it needs all pages, `site(site)`.

A new kind of finding is one function in its family, its code in `CODES`, and a section with a bad and a good example in CODES.md.
"""

from aerodocs.rules import code, duplicates, formulas, front, headings, language, links, pages, recorded, residue, tables

FAMILIES = (pages, front, headings, formulas, tables, links, code, recorded, duplicates, language, residue)
CODES: dict[str, str] = {code: severity for family in FAMILIES for code, severity in family.CODES.items()}
