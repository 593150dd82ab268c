# Every release that the client is held against, oldest first.
RELEASES = 4.6.0,4.9.4,4.9.7,4.10.0,4.10.6,4.10.8,4.10.9,4.10.11,4.11.0,4.11.2

.PHONY: test real record

test:
	go test ./...

# real runs the contract on real servers of all releases, and writes what works where. It takes an hour or two.
real:
	go test ./internal/contract -run TestReal -real $(RELEASES) -timeout 6h -json | go run ./internal/compatibility -o COMPATIBILITY.md

# record asks real servers of all releases anew what they answer.
record:
	go test ./internal/wire -run '^TestRecord$$' -real $(RELEASES) -record -v -timeout 3h
