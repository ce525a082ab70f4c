// Package dashboard is the page that people watch a job on, and the read API
// under it: the map of pick-ups, the lines of the airports, the state of the run.
//
// The page is HTML, CSS and JavaScript embedded in the binary: nothing is built,
// nothing is loaded from elsewhere. It polls the API once a second; every answer
// carries an ETag, so what has not changed costs a 304.
//
//	GET /                               the page
//	GET /api/state                      State
//	GET /api/windows                    Windows: the span that has results
//	GET /api/cells?window=latest|UNIX   CellsAnswer: pick-ups per cell of one window
//	GET /api/airports?from=UNIX&to=UNIX AirportsAnswer: average trip duration per window
//	GET /healthz                        "ok" while the process answers
//
// Errors are {"error": "a sentence"} with status 400, 404, 405 or 503. The API
// only reads, and it asks for no password: it belongs on a loopback address or
// behind something that does.
//
// What is shown comes through Source, which the binary implements; NewSource
// makes one from a sink.SQLite and a function that reports the state.
package dashboard
