"""A W&B server on the loopback interface: what the real SDK needs to log runs and read them back.

Runs, files and artifacts lie in dictionaries. It answers the GraphQL operations of wandb 0.31 by
their names, ``file_stream`` posts, and uploads. It proves the client's half alone: requests, order,
retries; nothing about quotas, the delay of exports or the sampling of the real service.
"""

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

ENTITY = "stub"
_NAME = re.compile(r"(?:query|mutation)\s+(\w+)")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass
class Bucket:
    """One run as the server holds it; a history line stands where its client put it."""

    project: str
    name: str
    fields: dict[str, Any] = field(default_factory=dict)
    summary: str = "{}"
    history: list[str] = field(default_factory=list)
    state: str = "running"
    created: str = field(default_factory=_now)
    heartbeat: str = field(default_factory=_now)
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def config(self) -> dict[str, Any]:
        return {key: x["value"] for key, x in json.loads(self.fields.get("config") or "{}").items()}

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.history]

    def node(self) -> dict[str, Any]:
        """Return the fields that ``RunFragment`` asks for."""
        rows = self.rows
        keys = {key for row in rows for key in row}
        last = max((row["_step"] for row in rows), default=-1)
        return {
            "id": self.name,
            "projectId": 1,
            "name": self.name,
            "displayName": self.fields.get("displayName"),
            "tags": self.fields.get("tags") or [],
            "group": self.fields.get("groupName"),
            "jobType": self.fields.get("jobType"),
            "notes": self.fields.get("notes"),
            "state": self.state,
            "config": self.fields.get("config") or "{}",
            "summaryMetrics": self.summary,
            "systemMetrics": "{}",
            "historyLineCount": len(rows),
            "historyKeys": {"lastStep": last, "keys": {k: {"typeCounts": []} for k in keys}},
            "createdAt": self.created,
            "heartbeatAt": self.heartbeat,
            "user": {"name": ENTITY, "username": ENTITY},
            "readOnly": False,
        } | dict.fromkeys(("sweepName", "commit", "description"))

    def value(self, path: str) -> Any:
        """Return what a filter's key names: ``config.a.value.b``, ``tags``, ``group``, ..."""
        if path.startswith("config."):
            at: Any = json.loads(self.fields.get("config") or "{}")
            for part in path.removeprefix("config.").split("."):
                at = at.get(part) if isinstance(at, dict) else None
            return at
        return self.node()[{"display_name": "displayName"}.get(path, path)]


def matches(bucket: Bucket, query: dict[str, Any]) -> bool:
    """Say whether a run passes a Mongo-like filter."""
    return all(_passes(bucket, key, wanted) for key, wanted in query.items())


def _passes(bucket: Bucket, key: str, wanted: Any) -> bool:
    if key in ("$and", "$or"):
        return {"$and": all, "$or": any}[key](matches(bucket, part) for part in wanted)
    value = bucket.value(key)
    have = value if isinstance(value, list) else [value]
    wanted = wanted if isinstance(wanted, dict) else {"$eq": wanted}
    tests: dict[str, Callable[[Any], bool]] = {
        "$eq": lambda x: x in have,
        "$ne": lambda x: x not in have,
        "$in": lambda x: any(y in have for y in x),
    }
    return all(tests[operator](x) for operator, x in wanted.items())


class WandbServer:
    """The server; start, stop and start again on the same port.

    Attributes:
        runs: by (project, run id).
        views: by id, what ``upsertView`` sent: the reports.
        artifacts: by id, what ``CreateArtifact`` sent; blobs: what was uploaded of them, by path.
        calls: the name of every request that came, in order.
        refuse: given a request's name, the HTTP status to refuse it with, or None.
        delay: seconds that every answer waits; gate: while it is cleared, nothing is answered.
    """

    def __init__(self) -> None:
        self.runs: dict[tuple[str, str], Bucket] = {}
        self.views: dict[str, dict[str, Any]] = {}
        self.artifacts: dict[str, dict[str, Any]] = {}
        self.blobs: dict[str, bytes] = {}
        self.calls: list[str] = []
        self.refuse: Callable[[str], int | None] = lambda _: None
        self.delay = 0.0
        self.gate = threading.Event()
        self.gate.set()
        self.lock = threading.RLock()
        self._http: ThreadingHTTPServer | None = None
        self._port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        handler = type("Handler", (_Handler,), {"server_state": self})
        self._http = _Http(("127.0.0.1", self._port), handler)
        self._port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections from now on, and drop the open ones."""
        if self._http:
            self._http.shutdown()
            self._http.drop()
            self._http.server_close()
            self._http = None

    def run(self, name: str, project: str = "prism") -> Bucket:
        return self.runs[project, name]

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Answer a GraphQL operation; one that is unknown raises, so a test sees it."""
        found = _NAME.search(query)
        name = found.group(1) if found else ""
        with self.lock:
            result: dict[str, Any] = getattr(self, f"_{name}")(variables)
            return result

    def _bucket(self, v: dict[str, Any]) -> Bucket | None:
        name = v.get("name") or v.get("run") or v.get("runName")
        return self.runs.get((v.get("project") or v.get("projectName") or "", name or ""))

    def _Viewer(self, _: Any) -> Any:
        teams = {"edges": [{"node": {"name": ENTITY}}]}
        who = {"id": "1", "entity": ENTITY, "username": ENTITY, "email": "", "admin": False}
        return {"viewer": {**who, "flags": "{}", "teams": teams, "apiKeys": {"edges": []}}}

    _GetViewer = _GetDefaultEntity = _Viewer

    def _ServerFeaturesQuery(self, _: Any) -> Any:
        return {"serverInfo": {"features": []}}

    def _OrganizationCoreWeaveOrganizationID(self, _: Any) -> Any:
        return {"entity": None}

    def _UpsertBucket(self, v: dict[str, Any]) -> Any:
        key = (v["project"] or "uncategorized", v["name"])
        inserted = key not in self.runs
        bucket = self.runs.setdefault(key, Bucket(*key))
        bucket.fields |= {k: x for k, x in v.items() if x is not None}
        bucket.state, bucket.heartbeat = "running", _now()
        entity = {"id": ENTITY, "name": ENTITY}
        project = {"id": key[0], "name": key[0], "entity": entity}
        node = bucket.node()
        shown = {k: node[k] for k in ("id", "name", "displayName", "description", "config")}
        answer = {"project": project, "sweepName": None, "historyLineCount": len(bucket.history)}
        return {"upsertBucket": {"bucket": shown | answer, "inserted": inserted}}

    def _RunResumeStatus(self, v: dict[str, Any]) -> Any:
        bucket = self._bucket(v)
        entity = {"id": ENTITY, "name": ENTITY}
        found = None
        if bucket:
            node = bucket.node()
            found = {k: node[k] for k in ("id", "name", "displayName", "config", "tags", "notes")}
            found |= {"summaryMetrics": bucket.summary, "historyLineCount": len(bucket.history)}
            found |= {"logLineCount": 0, "eventsLineCount": 0, "eventsTail": "[]"}
            found |= {"historyTail": json.dumps(bucket.history[-1:]), "wandbConfig": '{"t": 1}'}
        model = {"id": v["project"], "name": v["project"], "entity": entity, "bucket": found}
        return {"model": model}

    def _RunStoppedStatus(self, v: dict[str, Any]) -> Any:
        return {"project": {"run": {"stopped": False}}}

    def _CreateRunFiles(self, v: dict[str, Any]) -> Any:
        at = f"{self.url}/upload/{v['project']}/{v['run']}"
        files = [{"name": name, "uploadUrl": f"{at}/{name}"} for name in v["files"]]
        return {"createRunFiles": {"runID": v["run"], "uploadHeaders": [], "files": files}}

    def _MarkRunFilesUploaded(self, _: Any) -> Any:
        return {"markRunFilesUploaded": {"success": True}}

    def _Runs(self, v: dict[str, Any]) -> Any:
        query = json.loads(v.get("filters") or "{}")
        everything = [b for (project, _), b in self.runs.items() if project == v["project"]]
        if not everything:
            return {"project": None}
        found = sorted((b for b in everything if matches(b, query)), key=lambda b: b.created)
        start = int(v.get("cursor") or 0)
        end = start + v.get("perPage", 50)
        edges = [
            {"node": b.node(), "cursor": str(i)} for i, b in enumerate(found[start:end], start + 1)
        ]
        page = {"endCursor": str(end), "hasNextPage": end < len(found)}
        runs = {"edges": edges, "pageInfo": page}
        shown = {"internalId": "1", "runCount": len(found), "readOnly": False, "runs": runs}
        return {"project": shown}

    def _Run(self, v: dict[str, Any]) -> Any:
        bucket = self._bucket(v)
        return {"project": {"internalId": "1", "run": bucket.node() if bucket else None}}

    _RunState = _RunHistoryKeys = _Run

    def _RunParquetHistory(self, v: dict[str, Any]) -> Any:
        return {"project": {"run": {"parquetHistory": {"parquetUrls": [], "liveData": []}}}}

    def _HistoryPage(self, v: dict[str, Any]) -> Any:
        bucket = self._bucket(v)
        assert bucket
        low, high = v["minStep"], v["maxStep"]
        lines = [line for line in bucket.history if low <= json.loads(line)["_step"] < high]
        return {"project": {"run": {"history": lines[: v["pageSize"]]}}}

    def _SampledHistoryPage(self, v: dict[str, Any]) -> Any:
        bucket, spec = self._bucket(v), json.loads(v["spec"])
        assert bucket
        low, high = spec["minStep"], spec["maxStep"]
        rows = [row for row in bucket.rows if low <= row["_step"] < high]
        rows = [row for row in rows if set(spec["keys"]) <= set(row)]
        return {"project": {"run": {"sampledHistory": [rows]}}}

    def _RunFiles(self, v: dict[str, Any]) -> Any:
        bucket, wanted = self._bucket(v), set(v.get("fileNames") or [])
        assert bucket
        names = [name for name in bucket.files if not wanted or name in wanted]
        at = f"{self.url}/upload/{bucket.project}/{bucket.name}"
        edges = [
            {"node": self._file(bucket, name, f"{at}/{name}"), "cursor": name} for name in names
        ]
        files = {"edges": edges, "pageInfo": {"endCursor": "", "hasNextPage": False}}
        shown = {"fileCount": len(names), "files": files}
        return {"project": {"internalId": "1", "run": shown}}

    def _ProjectInternalId(self, v: dict[str, Any]) -> Any:
        return {"project": {"id": v["projectName"], "internalId": "1"}}

    def _GetProjects(self, v: dict[str, Any]) -> Any:
        facts = {"entityName": ENTITY, "createdAt": _now(), "isBenchmark": False, "user": None}
        names = {project for project, _ in self.runs}
        edges = [{"node": {"id": name, "name": name, **facts}, "cursor": ""} for name in names]
        return {"models": {"edges": edges, "pageInfo": {"endCursor": "", "hasNextPage": False}}}

    def _CreateProject(self, v: dict[str, Any]) -> Any:
        return {"result": {"project": None, "model": None, "inserted": True}}

    def _upsertView(self, v: dict[str, Any]) -> Any:
        name = v["id"] or f"view{len(self.views)}"
        inserted = name not in self.views
        self.views[name] = v
        project = {"id": "1", "name": v["projectName"], "entityName": v["entityName"]}
        kept = ("type", "name", "displayName", "description", "spec")
        view = {"id": name, "project": project, "updatedAt": _now(), **{k: v[k] for k in kept}}
        return {"upsertView": {"view": view, "inserted": inserted}}

    def _ArtifactType(self, _: Any) -> Any:
        return {"project": {"artifact": None}}

    def _CreateArtifact(self, v: dict[str, Any]) -> Any:
        name = f"artifact-{len(self.artifacts)}"
        self.artifacts[name] = v["input"]
        sequence = {"id": v["input"]["artifactCollectionName"], "latestArtifact": None}
        artifact = {"id": name, "state": "PENDING", "artifactSequence": sequence}
        return {"createArtifact": {"artifact": artifact}}

    def _upload(self, path: str) -> Any:
        return {"uploadUrl": f"{self.url}/blob/{path}", "uploadHeaders": []}

    def _CreateArtifactManifest(self, v: dict[str, Any]) -> Any:
        file = {"id": v["artifactID"], **self._upload(f"{v['artifactID']}/manifest")}
        return {"createArtifactManifest": {"artifactManifest": {"id": file["id"], "file": file}}}

    def _CreateArtifactFiles(self, v: dict[str, Any]) -> Any:
        edges = []
        for sent in v["input"]["artifactFiles"]:
            path = f"{sent['artifactID']}/{sent['name']}"
            node = {"storagePath": path, "artifact": {"id": sent["artifactID"]}}
            edges.append({"node": {**node, **self._upload(path), "uploadMultipartUrls": None}})
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def _CommitArtifact(self, v: dict[str, Any]) -> Any:
        return {"commitArtifact": {"artifact": {"id": v["artifactID"], "digest": ""}}}

    def _ArtifactByID(self, v: dict[str, Any]) -> Any:
        sent = self.artifacts[v["id"]]
        sequence = {"name": sent["artifactCollectionName"], "project": None}
        facts = {"id": v["id"], "artifactSequence": sequence, "digest": sent["digest"]}
        facts |= {"artifactType": {"name": sent["artifactTypeName"]}, "state": "COMMITTED"}
        facts |= {"createdAt": _now(), "tags": [], "ttlIsInherited": True}
        facts |= dict.fromkeys(("size", "fileCount", "ttlDurationSeconds"), 0)
        none = ("versionIndex", "description", "metadata", "historyStep", "commitHash", "updatedAt")
        return {"artifact": {**facts, **dict.fromkeys(none), "aliases": []}}

    def _file(self, bucket: Bucket, name: str, url: str) -> Any:
        size, when = len(bucket.files[name]), bucket.heartbeat
        known = {"id": name, "name": name, "url": url, "directUrl": url, "sizeBytes": size}
        return {**known, "updatedAt": when, "mimetype": "", "md5": "", "digest": ""}

    def stream(self, project: str, name: str, body: dict[str, Any]) -> None:
        """Take a ``file_stream`` post: lines at their offset, so that a repeated post adds none."""
        with self.lock:
            bucket = self.runs[project, name]
            files = body.get("files") or {}
            for chunk in [files["wandb-history.jsonl"]] if "wandb-history.jsonl" in files else []:
                offset = chunk["offset"]
                assert offset <= len(bucket.history), "a hole in the history"
                bucket.history[offset : offset + len(chunk["content"])] = chunk["content"]
            for chunk in [files["wandb-summary.json"]] if "wandb-summary.json" in files else []:
                bucket.summary = chunk["content"][-1]
            bucket.heartbeat = _now()
            if body.get("complete"):
                bucket.state = "failed" if body.get("exitcode") else "finished"


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.sockets: set[Any] = set()

    def get_request(self) -> Any:
        request = super().get_request()
        self.sockets.add(request[0])
        return request

    def drop(self) -> None:
        for socket in self.sockets:
            self.shutdown_request(socket)

    def handle_error(self, *_: Any) -> None:
        """Say nothing of a client that left."""


class _Handler(BaseHTTPRequestHandler):
    server_state: WandbServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        """Say nothing: a run that captures the console would take it."""

    def _answer(self) -> None:
        state = self.server_state
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = [unquote(part) for part in self.path.split("?")[0].strip("/").split("/")]
        kind, name, sent = parts[0], parts[0], None
        if kind == "graphql":
            sent = json.loads(body)
            found = _NAME.search(sent["query"])
            name = found.group(1) if found else sent["query"]
        elif parts[-1] == "file_stream":
            kind = name = "file_stream"
        state.calls.append(name)
        time.sleep(state.delay)
        state.gate.wait()
        status = state.refuse(name)
        if status:
            return self._send(status, b'{"error": "refused"}')
        if kind == "graphql" and sent:
            try:
                data = {"data": state.answer(sent["query"], sent.get("variables") or {})}
            except Exception as error:
                data = {"errors": [{"message": f"{name}: {error!r}"}]}
                state.calls.append(f"failed {name}: {error!r}")
            return self._send(200, json.dumps(data).encode())
        if kind == "file_stream":
            state.stream(parts[2], parts[3], json.loads(body))
        elif kind == "upload":
            files = state.runs[parts[1], parts[2]].files
            name = "/".join(parts[3:])
            if self.command == "GET":
                return self._send(200, files[name])
            files[name] = body
        elif kind == "blob":
            if self.command == "GET":
                return self._send(200, state.blobs["/".join(parts[1:])])
            state.blobs["/".join(parts[1:])] = body
        return self._send(200, b"{}")

    do_GET = do_POST = do_PUT = _answer

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
