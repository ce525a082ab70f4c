// Package dashboard is the page that people watch a job on, and the read API
// under it: the map of pick-ups, the lines of the airports, the state of the run.
//
// The page is HTML, CSS and JavaScript embedded in the binary: nothing is built,
// nothing is loaded from elsewhere. It polls the API once a second; every answer
// carries an ETag, so what has not changed costs a 304.
//
//	GET /                               the page
//	GET /api/state                      State
//	GET /api/windows?from=UNIX          Windows: which windows have results
//	GET /api/cells?window=latest|UNIX   CellsAnswer: pick-ups per cell of one window, or, with
//	    &span=SECONDS                   of all windows in the span that ends with it
//	GET /api/airports?from=UNIX&to=UNIX AirportsAnswer: average trip duration per window
//	GET /healthz                        "ok" while the process answers
//
// Without from or to, the newest 20,000 windows are meant. Errors of the API are
// {"error": "a sentence"}: status 400 for a question that makes no sense, 503
// when the Source has no answer. The API
// only reads, and it asks for no password: it belongs on a loopback address or
// behind something that does.
//
// What is shown comes through Source, which the binary implements; NewSource
// makes one from a sink.SQLite and a function that reports the state.
package dashboard
