"""Clients of object storage: what a bucket holds, and its objects, with every bound.

errors ... what can go wrong
model .... Item, Limits, and the Store that all of them are
http ..... the one way in which they ask
xml ...... answers in XML, read without believing them
s3, gcs, azure ... one storage interface each
sharedkey, ldap ...... how some of them want to be shown who asks
endpoint ............. from spec.endpoint to an address

Own clients on aiohttp rather than obstore (0.12.1, tried): that has no client certificate, its
constructors read the environment, it follows redirects, and its errors quote whole answers.
"""
