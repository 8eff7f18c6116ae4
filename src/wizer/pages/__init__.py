"""Reports: a document of what was found, and a page that shows it to people.

A document is plain data, as ``json`` takes it (:mod:`.document`). The page (:mod:`.page`) is one file that
loads nothing: it carries the document, and what draws it stands beside this file as HTML, CSS and JavaScript.
"""
