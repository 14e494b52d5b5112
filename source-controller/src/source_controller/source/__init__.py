"""What every kind of source shares. A kind is its own steps, and one registration.

    kind ......... SourceKind(resource, reconcile, connect, indexes, stored_as)  what is run
                   Wiring(own, everyone, queue, other)                   what triggers are made of
    tools ........ Tools(client, storage, events, clock, log, work, ...) what a kind is built with
                   .writer(resource, summary) -> StatusWriter
    reconciler ... SourceReconciler(tools, writer, resource=, model=, run=, steps=, summary=,
                                    refused=(), link="", divert=None)
                   .reconcile(key)  deletion, finalizer, suspension, refusals, progress, storage,
                                    then await steps(run) -> Success, or StepFailed
    run .......... Run[Model]: live, obj, status, conditions, artifact, quiet, requested, work
                   .progress(message, drift=)  .set_true(type, reason, message)  .clear(*types)
                   .stored(message, reason=)  .observe(**status_fields)  .set_artifact(artifact)
                   StatusWriter.progress(run)  ahead of the one write at the end, if it takes long
                   StepFailed(condition, reason, message, kind="retry|stalled|waiting", status=)
    finish ....... Success(stored, recovered, unchanged=None, new_reason=, recovered_reason=)
    storing ...... ArtifactStep(tools, kind, link=""): what steps call last
                   .store_tree(run, tree, revision=, filename=, keep_for=, metadata=None)
                   .store_file(run, file, revision=, filename=, metadata=None)
                   .up_to_date(run, revision)  the event that nothing had to be stored
    work ......... async with work_folder(tools.work, run) as folder      also run.folder
                   async with make_folder(tools.work, namespace, prefix=) as folder
    secrets ...... await read_secret(client, key, field="spec.secretRef") -> dict[str, bytes]
                   auth_failed(message) -> StepFailed
    address ...... parse_address(url, schemes=) -> Address(url, scheme, user, password)
    refusing ..... refuse_unsupported(obj, refused)    the reconciler calls it
    reasons ...... the common types and reasons; Summary(own_failures=(), verified=False)

A kind's folder has ``reconciler.py``, whose factory (``git_repository(tools, ...) -> SourceKind``)
lists its steps, ``triggers.py``, ``reasons.py``, ``unsupported.py`` (the fields it refuses) and its
steps. ``assemble.SourceController._kinds`` calls the factory and gives it what kinds share.
"""
