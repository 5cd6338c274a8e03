#!/usr/bin/env escript
%% A TLS client by Erlang/OTP: PORT CA TIMES [CERT KEY]. Each time a request, a change of keys, a half-close, and all that comes.

main([Port, Ca, Times | Own]) ->
    {ok, _} = application:ensure_all_started(ssl),
    lists:foreach(fun(_) -> once(list_to_integer(Port), options(Ca, Own)) end, lists:seq(1, list_to_integer(Times))).

options(Ca, Own) ->
    [{cacertfile, Ca}, {verify, verify_peer}, {server_name_indication, "localhost"}, {versions, ['tlsv1.3']},
     {session_tickets, auto}, {mode, binary}, {active, false}
     | case Own of [Cert, Key] -> [{certfile, Cert}, {keyfile, Key}]; [] -> [] end].

once(Port, Options) ->
    {ok, S} = ssl:connect("127.0.0.1", Port, Options, 10000),
    ok = ssl:send(S, "GET / HTTP/1.0\r\n"),
    ok = ssl:update_keys(S, read_write),
    ok = ssl:send(S, "\r\n"),
    Resumed = resumed(S),
    ok = ssl:shutdown(S, write),
    io:format("bytes ~p resumed ~p~n", [read(S, 0), Resumed]),
    ssl:close(S).

resumed(S) ->
    {ok, Info} = ssl:connection_information(S, [session_resumption]),
    proplists:get_value(session_resumption, Info).

read(S, N) ->
    case ssl:recv(S, 0, 20000) of
        {ok, Data} -> read(S, N + byte_size(Data));
        {error, closed} -> N
    end.
