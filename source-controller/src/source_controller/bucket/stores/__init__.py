"""Clients of object storage: what a bucket holds, and its objects, with every bound.

errors ... what can go wrong
model .... Item, Limits, and the Store that all of them are
http ..... the one way in which they ask
xml ...... answers in XML, read without believing them
s3, gcs, azure ... one storage interface each
sharedkey, oauth, ldap ... how some of them want to be shown who asks

Own clients on aiohttp rather than obstore: that cannot show a client certificate, follows
redirects by itself and tells errors in words that quote addresses with their queries.
"""
