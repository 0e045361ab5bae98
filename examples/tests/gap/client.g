# A client of the hash server, in GAP: enumerates the orders of 1, 2, .. $N with the server
# on 127.0.0.1:$PORT, and says how many it has looked at.
LoadPackage("io");;
port := Int(GAPInfo.SystemEnvironment.PORT);;
n := Int(GAPInfo.SystemEnvironment.N);;
hub := IOHub();;
server := NewTCPConnection(hub, "127.0.0.1", port);;
if server = fail then Print("nobody listens\n"); QUIT_GAP(1); fi;

ask := function()
  local input;
  SubmitOutput(hub, server, "gettask");
  repeat
    # To wait for a connection that is gone is to wait for ever.
    if not IsBound(hub!.connections[server]) then Print("the server has gone\n"); QUIT_GAP(1); fi;
    DoIO(hub, true);
    input := GetInput(hub, server);
  until input <> false;
  return IO_Unpickle(input[2]);
end;;

# GAP pickles [1..n] as a range, and this is to be a list.
seed := List([1..n], i -> i + 0);;
SubmitOutput(hub, server, IO_Pickle([seed]));
done := 0;;
idle := 0;;
while idle < 25 do
  task := ask();
  if task = [] then
    idle := idle + 1;
    IO_select([], [], [], 0, 20000);
  else
    idle := 0;
    done := done + Length(task);
    images := [];
    for point in task do
      Add(images, Permuted(point, (1,2)));
      Add(images, Concatenation(point{[2..n]}, [point[1]]));
    od;
    SubmitOutput(hub, server, IO_Pickle(images));
  fi;
od;
Print("did ", done, " points\n");
Shutdown(hub);
QUIT_GAP(0);
