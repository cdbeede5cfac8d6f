-- The index of sessions. A cache: one with another schema is made anew, from the session files.
-- Times are milliseconds since 1970, paths are bytes.
CREATE TABLE folder (
    path BLOB NOT NULL UNIQUE,
    -- Of the names, sizes and times of its files.
    digest INTEGER NOT NULL,
    -- Its last change before it was listed, in nanoseconds.
    changed INTEGER NOT NULL,
    -- The names in it. With rows of this length a table WITHOUT ROWID is slow: it reads them whole on its way to a key.
    entries BLOB NOT NULL
);

CREATE TABLE file (
    path BLOB PRIMARY KEY,
    folder BLOB NOT NULL,
    bytes INTEGER NOT NULL,
    -- Nanoseconds.
    changed INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    -- NULL for a file that is no session's.
    thread TEXT,
    -- Why it cannot be read.
    problem TEXT
) WITHOUT ROWID;
CREATE INDEX file_of_folder ON file (folder);
CREATE INDEX file_of_thread ON file (thread);
CREATE INDEX file_with_problem ON file (path) WHERE problem IS NOT NULL;

CREATE TABLE thread (
    id INTEGER PRIMARY KEY,
    thread TEXT NOT NULL UNIQUE,
    parent TEXT,
    -- The thread that a person started; NULL until it is looked up.
    root TEXT,
    -- The file to which Codex appends.
    path BLOB NOT NULL,
    began INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    folder TEXT,
    branch TEXT,
    prompt TEXT,
    agent TEXT,
    -- Separated by line feeds.
    models TEXT NOT NULL,
    version TEXT,
    status TEXT NOT NULL,
    turns INTEGER NOT NULL,
    active_ms INTEGER NOT NULL
);
CREATE INDEX thread_of_root ON thread (root);
CREATE INDEX thread_of_parent ON thread (parent);
CREATE INDEX thread_without_root ON thread (id) WHERE root IS NULL;
CREATE INDEX thread_running ON thread (id) WHERE status = 'running';

-- The repository that each folder is in.
CREATE TABLE project (folder TEXT PRIMARY KEY, project TEXT NOT NULL) WITHOUT ROWID;

-- Who served a response, and how; each combination once.
CREATE TABLE service (
    id INTEGER PRIMARY KEY,
    provider TEXT,
    model TEXT,
    tier TEXT
);

CREATE TABLE response (
    thread INTEGER NOT NULL,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    service INTEGER NOT NULL,
    input INTEGER NOT NULL,
    cached INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    output INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    -- US dollars; NULL without a price.
    cost REAL,
    PRIMARY KEY (thread, number)
) WITHOUT ROWID;

-- The sums of a root thread and all below it.
CREATE TABLE session (
    root TEXT PRIMARY KEY,
    thread INTEGER NOT NULL,
    began INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    agents INTEGER NOT NULL,
    models TEXT NOT NULL,
    input INTEGER NOT NULL,
    cached INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    output INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    cost REAL NOT NULL,
    -- Of responses without a price.
    unpriced INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX session_ended ON session (ended DESC, root DESC);

-- Sessions whose sums are no longer those of their threads.
CREATE TABLE stale (root TEXT PRIMARY KEY) WITHOUT ROWID;

CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
