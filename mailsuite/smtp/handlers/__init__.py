"""Plug-ins written for aiosmtpd, unchanged: `smtpd_handlers = package.module:Class ...` (docs/plugins.md).

    params.py     smtpd_handlers and its kin          loading.py           names to objects
    facade.py     aiosmtpd's Session, Envelope and server, as our connection fills them
    server_handlers.py    the hooks at the stages of a connection
    server_content.py     handle_DATA: a whole message before a plug-in
    dialogue.py           auth_MECHANISM methods, which talk with the client
"""
