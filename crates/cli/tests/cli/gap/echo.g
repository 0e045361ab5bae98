# The original IOHub as an echo on 127.0.0.1:$PORT. Says "ready" when it listens; each message goes
# back to where it came from, and "exit", once it is answered, ends the server.
# Run: PORT=2525 gap -A -q --nointeract echo.g
LoadPackage("io");;
hub := IOHub();;
if AttachServingSocket(hub, "127.0.0.1", Int(GAPInfo.SystemEnvironment.PORT)) = fail then
  Print("cannot listen\n");
  QUIT_GAP(2);
fi;
Print("ready\n");
running := true;;
while running do
  DoIO(hub, true);
  input := GetInput(hub, 0);
  while input <> false do
    if input[2] = "exit" then running := false; fi;
    if IsBound(hub!.connections[input[1]]) then SubmitOutput(hub, input[1], input[2]); fi;
    # Before the queue is looked at again: a blocking call does not return for what lies in it.
    DoIO(hub, false);
    input := GetInput(hub, 0);
  od;
od;
Shutdown(hub);
Print("ended\n");
QUIT_GAP(0);
