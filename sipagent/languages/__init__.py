"""The languages that commands speak: which one a person reads, its catalogue, and the names of what is coded.

English stands in the code, as gettext has it. `fr/*.po` has the French, one file for a group of modules;
`make languages` puts them together in `fr/LC_MESSAGES/sipagent.mo`. `kept.txt` has the lines that are kept in
English and shown in another language. Whatever a program reads stays English:
JSON, the log, what is kept, keys of the configuration, commands and options.
"""
