module outrigger/compliance

go 1.25.8
