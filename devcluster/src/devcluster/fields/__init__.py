"""The API server's knowledge of fields: schemas, ownership, patches, admission of objects.

    schema    what a kind looks like: structure, list types, merge keys, encoding rules
    fieldset  sets of field paths in the FieldsV1 form, and their algebra
    typed     merge and comparison of objects by schema
    managed   metadata.managedFields after a create, update or patch
    apply     server-side apply
    patches   JSON patch, merge patch, strategic merge patch
    admit     what a request's object must be: decoding, defaults, validation

Everything here is a pure function of JSON values; nothing knows HTTP or storage. An object that
is handed in is never changed, and results share unchanged parts with what they were made from:
callers must treat both as frozen.
"""

from __future__ import annotations

__all__: list[str] = []
